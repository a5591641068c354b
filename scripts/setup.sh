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
}
