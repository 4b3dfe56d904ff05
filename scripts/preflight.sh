#!/bin/sh
# Says what this machine lacks for a step and how to get it; installs nothing.
#   preflight.sh python   print the Python to build the environment with
#   preflight.sh build    what setting up and searching on the CPU needs
#   preflight.sh test     what the whole test suite needs beyond that
set -u

have() { command -v "$1" >/dev/null 2>&1; }

# One line that installs packages here: $1 for apt-get, $2 for dnf, $3 for brew.
how() {
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo "
    if have apt-get; then echo "${sudo}apt-get install -y $1"
    elif have dnf; then echo "${sudo}dnf install -y $2"
    elif have brew; then echo "brew install $3"
    else echo "install $1 with this system's package manager"
    fi
}

missing=0
lacks() {
    missing=1
    printf 'missing: %s\n    get it: %s\n' "$1" "$2" >&2
}

fits() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
        if fits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    lacks "Python 3.11 to 3.14 with its venv module" "$(how 'python3 python3-venv python3-dev' 'python3 python3-devel' python@3.13)"
}

# Whether the Python found, if there is one, has its headers.
has_headers() {
    python=$(find_python 2>/dev/null) || return 0
    [ -z "$python" ] || "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))'
}

check_build() {
    have g++ || lacks "g++ (compiles the kernels)" "$(how g++ gcc-c++ gcc)"
    have git || lacks "git (clones and inspects lineages)" "$(how git git git)"
    if [ -e .venv ] && [ ! -w .venv ]; then
        lacks "the right to write .venv, which belongs to another user" "remove .venv, or work in a clone of your own"
    fi
    has_headers || printf 'note: no Python headers, so torch.compile cannot be a baseline, nor `torch` bindings be built; get them: %s\n' \
        "$(how python3-dev python3-devel python@3.13)" >&2
}

check_test() {
    has_headers || lacks "Python headers (extensions of torch are built)" "$(how python3-dev python3-devel python@3.13)"
    for browser in chromium chromium-browser google-chrome google-chrome-stable; do
        have "$browser" && return
    done
    lacks "Chromium (the page is tested in a real browser)" "$(how chromium chromium chromium)"
}

case "${1:-}" in
    python) find_python ;;
    build) check_build ;;
    test) check_test ;;
    *)
        echo "usage: preflight.sh python|build|test" >&2
        exit 2
        ;;
esac
exit $missing
