#!/bin/bash
# Builds the cargo-fuzz targets and runs each for FUZZ_SECONDS. A failing input is stored in fuzz/artifacts/, and ends
# the run.
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO=${CARGO:-cargo}
seconds=${FUZZ_SECONDS:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
programs=$(realpath -m "${CARGO_TARGET_DIR:-fuzz/target}")/$host/debug

if ! command -v cargo-fuzz >/dev/null; then
	echo "fuzz: installing cargo-fuzz"
	$CARGO install cargo-fuzz --locked --quiet
fi

# libFuzzer needs coverage instrumentation, which the stable compiler has. But cargo-fuzz also passes unstable flags,
# which RUSTC_BOOTSTRAP allows.
RUSTC_BOOTSTRAP=1 $CARGO fuzz build --dev --sanitizer none

for source in fuzz/fuzz_targets/*.rs; do
	target=$(basename "$source" .rs)
	mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
	echo "fuzz: $target for $seconds s"
	"$programs/$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -artifact_prefix="fuzz/artifacts/$target/" \
		-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -verbosity=0 -print_funcs=0 -print_final_stats=1
done
