//! Tests of the store on real files and real rings.
