//! Tests of the router as a whole, over hand-written roles. What real roles say is tested in the binary.
