//! The API: requests and answers as data, and the client that sends and reads them. The only folder that uses the network;
//! no rule of when to ask what, and no decision about an answer beyond its kind of failure.

pub mod client;
pub mod error;
pub mod request;
pub mod response;
pub mod watch;
