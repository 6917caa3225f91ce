#!/bin/sh
# Makes the environment and installs the project into it, or says what stands in the way. `make` calls it.
#   PYTHON=python3 VENV=.venv sh install.sh .          (or '.[dev]')
# ALSO names a second file of constraints, ALONE packages that are installed last and without what they ask for.
set -u
what=${1:-.}
: "${PYTHON:=python3}" "${VENV:=.venv}" "${ALSO:=}" "${ALONE:=}"
room=3 # GB: the environment takes 2 with the CPU build of PyTorch, and pip unpacks beside it
cuda="PyTorch's build for GPUs takes some 5 more; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu has the smaller one"
newer="install Python 3.11 or later, and name it: make PYTHON=python3.11"

stop() {
	printf 'error: %s\n       %s\n' "$1" "$2" >&2
	exit 1
}

command -v "$PYTHON" >/dev/null || stop "there is no $PYTHON" "$newer"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
	stop "$PYTHON is too old: $("$PYTHON" --version 2>&1)" "$newer"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
	stop "$PYTHON cannot make environments" "install its venv module; on Debian and Ubuntu: sudo apt install python3-venv"

if [ ! -e "$VENV/bin/python" ]; then
	place=$VENV
	while [ ! -d "$place" ]; do place=$(dirname "$place"); done
	free=$(df -Pk "$place" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$free" -ge "$room" ] || stop "$free GB are free at $place, and $room are needed" \
		"free some, or name another place: make VENV=/path/to/venv ($cuda)"
	"$PYTHON" -m venv "$VENV" || stop "$VENV cannot be made" "the reason stands above; for another place: make VENV=/path/to/venv"
fi

log=$VENV/install.log
echo "Installing $what into $VENV, once: some minutes, most of them for PyTorch. What pip says goes to $log"
# shellcheck disable=SC2086 # ALONE is a list of words
install() {
	set -- --constraint constraints.txt ${ALSO:+--constraint "$ALSO"}
	"$VENV/bin/python" -m pip install "$@" --editable "$what" || return
	[ -z "$ALONE" ] || "$VENV/bin/python" -m pip install "$@" --no-deps $ALONE
}
install >"$log" 2>&1 && exit
grep -E '^ERROR|^error' "$log" | tail -n 2 | cut -c 1-300 >&2
if grep -q 'No space left' "$log"; then
	stop "the disk is full" "free some space, then call make again ($cuda)"
elif grep -Eq 'NewConnectionError|Failed to establish|name resolution|timed out|ProxyError|SSLError' "$log"; then
	stop "the package index cannot be reached" \
		"check the network and its proxy (HTTPS_PROXY), or name another index (PIP_INDEX_URL); then call make again"
fi
stop "pip could not install $what" "read $log; when that is mended, call make again"
