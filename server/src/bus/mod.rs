//! (Begun.)
