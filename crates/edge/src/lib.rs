//! The edge role: HTTP and the Gate service in, the other roles composed.
