//! Requests from anywhere, as no test could make them over a socket of its own.
