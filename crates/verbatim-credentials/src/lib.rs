//! Credentials of registries and Argo CD, in types that cannot be printed.
