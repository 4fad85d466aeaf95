//! The API: requests and answers as data, and the client that sends and reads them. The only folder that uses the network;
//! no rule of when to ask what, and no decision about an answer beyond its kind of failure.

pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod kubernetes;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod watch;
