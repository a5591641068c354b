# Functions that the scripts of this folder share; to be sourced from the project's root.

# Installs Debian packages; fails if that is not possible here.
install_packages() {
    local sudo=()
    command -v apt-get >/dev/null || { echo "no apt-get here: install $* by other means" >&2; return 1; }
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "not root and no sudo: cannot install $*" >&2; return 1; }
        sudo=(sudo)
    fi
    echo "Installing $*" >&2
    "${sudo[@]}" apt-get update -qq >&2 &&
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

# Makes sure of pw.x and its pseudopotentials.
prepare_espresso() {
    local missing=()
    command -v pw.x >/dev/null || missing+=(quantum-espresso)
    [ -n "${ZPE_PSEUDO_DIR:-}" ] || [ -d /usr/share/espresso/pseudo ] || missing+=(quantum-espresso-data)
    [ "${#missing[@]}" -eq 0 ] || install_packages "${missing[@]}"
    # Debian's pw.x takes what the machine has as libblas.so.3; with the reference BLAS a slab takes half as long again.
    if ldd "$(command -v pw.x)" 2>/dev/null | grep -q '/libblas\.so\.3 ' &&
        ! readlink -f /usr/lib/*/libblas.so.3 | grep -Eq 'openblas|blis|atlas|mkl'; then
        install_packages libopenblas0-serial || echo "pw.x stays on the reference BLAS, which is slow" >&2
    fi
}

# Makes sure of a second version of pw.x, 7.2, in an environment of its own (.venv-qe72/bin/pw.x). It comes from the
# package qepy, which is there for Python 3.11 and 3.12; without one of these, tests that need it are skipped.
prepare_second_espresso() {
    local python folder=.venv-qe72
    [ -x "$folder/bin/pw.x" ] && return
    for python in "${PYTHON:-python3}" python3.12 python3.11; do
        "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
            2>/dev/null && break
        python=
    done
    if [ -z "$python" ] || ! "$python" -m venv "$folder" || ! "$folder/bin/python" -m pip install --quiet \
        --disable-pip-version-check --only-binary :all: 'qepy==7.2.0' 'numpy<2' setuptools; then
        echo "There is no second pw.x: tests that need one are skipped" >&2
        return
    fi
    printf '#!/bin/sh\nexec "%s" -m qepy --pw.x "$@"\n' "$PWD/$folder/bin/python" >"$folder/bin/pw.x.new"
    chmod +x "$folder/bin/pw.x.new"
    mv "$folder/bin/pw.x.new" "$folder/bin/pw.x"
}

# Makes .venv-lowest, with the lowest direct versions that pyproject.toml allows; not for Python 3.13, for which
# some of these have no wheels.
prepare_lowest() {
    .venv/bin/python -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || return 0
    [ -x .venv-lowest/bin/python ] || .venv/bin/uv venv --quiet --python .venv/bin/python .venv-lowest
    .venv/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
        --only-binary :all: --no-binary zpe -e '.[server,notebook,embedded]' \
        'hypothesis>=6.100' 'psutil>=5.9' 'pytest>=8.2' 'pytest-timeout>=2.3' 'trustme>=1.1'
}

# Makes the virtual environment .venv and installs the project with the given extras into it.
prepare_python() {
    local python
    for python in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
        python=
    done
    [ -n "$python" ] || { echo "Python 3.11 or newer with venv is needed (Debian: apt install python3-venv)" >&2; exit 1; }
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e "$1"
    # pip compiles what it installs, but not what stays where it is: each start would.
    .venv/bin/python -m compileall -q zpe_sdk server dashboard
}
