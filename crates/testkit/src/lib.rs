//! For tests only: databases, Redis servers and a clock moved by hand.
