//! Peers made of bare sockets, that do what no client would.
