//! Nothing: the benchmarks are the files in `benches/`.
