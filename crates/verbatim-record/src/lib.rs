//! Signed in-toto statements about a release: build, test, promotion.
