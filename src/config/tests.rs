//! The shipped file, held to the code.

mod shipped;
