//! What the tests and the benchmark of a whole cloud share.
