#!/bin/bash
# Changes the code in many small ways, one after the other, and checks that a test fails. Runs cargo-mutants in bounded
# time.
#
#   make mutants MODULES="text.rs json"       modules of app/src or of a library, tested by the unit tests
#   make mutants MODULES=run-log              a library below crates, tested by its unit tests
#   make mutants MODULES=jobs TESTS=jobs::    the unit and integration tests whose names contain jobs::
#   make mutants REF=v0.1.0                   all code that differs from there; by default, from the last release
#
# SECONDS_AT_MOST limits the whole run (3,600 s); SHARD=1/4 tries a part. The script works on the last commit, in its own
# work tree, and never on your files.
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO=${CARGO:-cargo}
at_most=${SECONDS_AT_MOST:-3600}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tree=$target/mutants/tree
report=$target/mutants/report
# Dependencies that were built before are reused. Without debug information, the tests link faster.
export CARGO_TARGET_DIR=$target CARGO_PROFILE_DEV_DEBUG=false PATH=$target/tools/bin:$PATH

if ! command -v cargo-mutants >/dev/null; then
	echo "mutants: installing cargo-mutants into $target/tools"
	CARGO_TARGET_DIR=$target/tools/build $CARGO install cargo-mutants --locked --quiet --debug --root "$target/tools"
fi

options=(--in-place --no-shuffle --colors never --output "$report" --package daybook)
for library in crates/*/; do
	options+=(--package "daybook-$(basename "$library")")
done
if [ -n "${MODULES:-}" ]; then
	for module in $MODULES; do
		before=${#options[@]}
		for folder in app/src crates/*/src; do
			if [ -d "$folder/$module" ]; then
				options+=(--file "$folder/$module/**")
			fi
			if [ -e "$folder/${module%.rs}.rs" ]; then
				options+=(--file "$folder/${module%.rs}.rs")
			fi
		done
		if [ -d "crates/$module/src" ]; then
			options+=(--file "crates/$module/src/**")
		fi
		if [ ${#options[@]} -eq "$before" ]; then
			echo "mutants: no module or library is named $module" >&2
			exit 2
		fi
	done
else
	ref=${REF:-$(git describe --tags --abbrev=0 2>/dev/null || true)}
	if [ -z "$ref" ]; then
		echo "mutants: there is no release yet: set MODULES, or a REF to compare with" >&2
		exit 2
	fi
	mkdir -p "$target/mutants"
	git diff "$ref" HEAD -- app/src crates >"$target/mutants/diff"
	options+=(--in-diff "$target/mutants/diff")
fi
if [ -n "${SHARD:-}" ]; then
	options+=(--shard "$SHARD")
fi

tests=(--lib)
filters=()
if [ -n "${TESTS:-}" ]; then
	options+=(--test-package daybook --test-package daybook-tests)
	tests+=(--bins --test it)
	# For the unit tests and the integration tests.
	read -ra filters <<<"$TESTS"
fi

if [ ! -e "$tree/.git" ]; then
	git worktree prune
	git worktree add --quiet --detach "$tree" HEAD
fi
git -C "$tree" checkout --quiet --detach --force "$(git rev-parse HEAD)"

cd "$tree"
code=0
timeout --signal INT "$at_most" $CARGO mutants "${options[@]}" -- "${tests[@]}" -- "${filters[@]}" || code=$?
git checkout --quiet --force
echo "mutants: the whole report is in $report/mutants.out"
# 2: some mutants were missed; 3: some timed out. People have to read both. 124: the time limit was reached.
case $code in
0 | 2 | 3) ;;
124) echo "mutants: stopped after $at_most s, before the end" ;;
*) exit "$code" ;;
esac
