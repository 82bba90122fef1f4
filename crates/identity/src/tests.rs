//! The service, over both databases.
