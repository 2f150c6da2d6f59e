#!/bin/bash
# Starts a service with a private database and a sample team, and runs schemathesis against it. Results are in
# target/fuzz/.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v python3 >/dev/null; then
	echo "NOT TESTED: python3 is missing, which schemathesis needs"
	exit 0
fi

CARGO=${CARGO:-cargo}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
folder=$target/fuzz
venv=$folder/venv
data=$(mktemp -d "${TMPDIR:-/tmp}/daybook-fuzz.XXXXXX")
port=${FUZZ_PORT:-18080}
service=

stop() {
	status=$?
	if [ -n "$service" ]; then
		kill -INT "$service" 2>/dev/null || true
		wait "$service" 2>/dev/null || true
	fi
	rm -rf "$data"
	exit $status
}
trap stop EXIT

if ! "$venv/bin/schemathesis" --version >/dev/null 2>&1; then
	echo "fuzz: installing schemathesis into $venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement fuzz/requirements.txt
fi

# With `testing`, as `make run` builds it.
$CARGO build --package daybook --features testing
mkdir -p "$folder"
DAYBOOK_DATA_DIR=$data DAYBOOK_BIND=127.0.0.1:$port "$target/debug/daybook" dev \
	>"$folder/wide-events.ndjson" 2>"$folder/service.log" &
service=$!
for _ in $(seq 600); do
	[ -e "$data/dev.env" ] && curl -sf "http://127.0.0.1:$port/readyz" >/dev/null && break
	kill -0 "$service" 2>/dev/null || { cat "$folder/service.log"; echo "fuzz: the service exited before it was ready"; exit 1; }
	sleep 0.2
done
# shellcheck disable=SC1091
. "$data/dev.env"
export DAYBOOK_TEAM ADA

# Prints the first id of a list, or the id of an answer.
id_of() {
	curl -sS --fail -H "Authorization: Bearer $ADA" -H 'Content-Type: application/json' "${@:2}" "$DAYBOOK_URL/v1/teams/$DAYBOOK_TEAM$1" |
		python3 -c 'import json, sys; answer = json.load(sys.stdin); print((answer.get("items") or [answer])[0]["id"])'
}
FUZZ_CAMPAIGN=$(id_of /campaigns)
FUZZ_THREAD=$(id_of /threads)
FUZZ_RUN=$(id_of /runs -d '{"name": "fuzz"}')
export FUZZ_CAMPAIGN FUZZ_THREAD FUZZ_RUN

outcome=0
config=$PWD/fuzz/schemathesis.toml
cd "$folder"
"$venv/bin/schemathesis" --config-file "$config" run "$DAYBOOK_URL/openapi.json" \
	--max-examples "${FUZZ_EXAMPLES:-25}" --workers 1 --report junit --report-dir "$folder/report" || outcome=$?

# Panics and internal errors may not show in an answer, so look for them in the wide events.
if grep -aE '"outcome":"(panic|error)"' "$folder/wide-events.ndjson" >"$folder/failed.ndjson"; then
	echo "fuzz: requests failed inside the service (see $folder/failed.ndjson):"
	head -n 5 "$folder/failed.ndjson" | cut -c1-400
	outcome=1
fi
if grep -a 'panicked at' "$folder/service.log"; then
	outcome=1
fi
exit $outcome
