#!/bin/sh
# Installs verbatim, for one user, without root:
#
#   sh install.sh                     this release, into ~/.local
#   PREFIX=/usr/local sh install.sh   into another folder
#   VERSION=0.1.0 sh install.sh       another release
#
# Nothing that was downloaded runs before its checksum and the signature of the checksums are checked. That takes openssl or
# cosign; VERIFY=sums does without a signature.

set -eu

VERSION=${VERSION:-@VERSION@}
PREFIX=${PREFIX:-${HOME:?HOME is not set; set PREFIX}/.local}
BASE_URL=${BASE_URL:-https://github.com/verbatim-tools/verbatim/releases/download}
VERIFY=${VERIFY:-signature}

release_key() {
    cat <<'KEY'
@RELEASE_KEY@
KEY
}

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# A whole answer or none: a download that was cut must not pass for the file.
download() { # URL FILE
    if has curl; then
        curl --fail --silent --show-error --location --retry 3 --output "$2" "$1" || fail "cannot download $1"
    elif has wget; then
        wget -q -O "$2" "$1" || fail "cannot download $1"
    else
        fail "this needs curl or wget"
    fi
}

sum() { # FILE
    if has sha256sum; then
        sha256sum "$1" | cut -d ' ' -f 1
    elif has shasum; then
        shasum -a 256 "$1" | cut -d ' ' -f 1
    elif has openssl; then
        openssl dgst -sha256 -r "$1" | cut -d ' ' -f 1
    else
        fail "this needs sha256sum, shasum or openssl"
    fi
}

check_signature() { # FILE SIGNATURE
    release_key >"$work/release.pub"
    if has openssl; then
        openssl base64 -d -A -in "$2" -out "$work/signature" 2>/dev/null || fail "$2 is no signature"
        openssl dgst -sha256 -verify "$work/release.pub" -signature "$work/signature" "$1" >/dev/null 2>&1 ||
            fail "SHA256SUMS is not signed by the key of the releases; nothing was installed"
    elif has cosign; then
        cosign verify-blob --key "$work/release.pub" --signature "$2" --insecure-ignore-tlog=true "$1" >/dev/null 2>&1 ||
            fail "SHA256SUMS is not signed by the key of the releases; nothing was installed"
    else
        fail "this needs openssl or cosign to check the signature; VERIFY=sums does without it"
    fi
}

case $VERIFY in
signature | sums) ;;
*) fail "VERIFY is signature or sums, and not '$VERIFY'" ;;
esac
case $VERSION in
v*) VERSION=${VERSION#v} ;;
esac
case $(uname -s) in
Linux) ;;
*) fail "there are binaries for Linux only; elsewhere: cargo install --git https://github.com/verbatim-tools/verbatim verbatim" ;;
esac
case $(uname -m) in
x86_64 | amd64) target=x86_64-unknown-linux-musl ;;
aarch64 | arm64) target=aarch64-unknown-linux-musl ;;
*) fail "there is no binary for $(uname -m)" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

name=verbatim-$VERSION-$target
url=$BASE_URL/v$VERSION
download "$url/SHA256SUMS" "$work/SHA256SUMS"
if [ "$VERIFY" = signature ]; then
    download "$url/SHA256SUMS.sig" "$work/SHA256SUMS.sig"
    check_signature "$work/SHA256SUMS" "$work/SHA256SUMS.sig"
fi
want=$(sed -n "s/^\([0-9a-f]\{64\}\)  $name\.tar\.gz\$/\1/p" "$work/SHA256SUMS")
[ -n "$want" ] || fail "the release $VERSION has no $name.tar.gz"
download "$url/$name.tar.gz" "$work/$name.tar.gz"
got=$(sum "$work/$name.tar.gz")
[ "$got" = "$want" ] || fail "$name.tar.gz has the checksum $got, and SHA256SUMS says $want; nothing was installed"

tar -x -z -f "$work/$name.tar.gz" -C "$work"
mkdir -p "$PREFIX/bin" "$PREFIX/share/man/man1" "$PREFIX/share/bash-completion/completions" \
    "$PREFIX/share/fish/vendor_completions.d" "$PREFIX/share/zsh/site-functions"
cp "$work/$name"/man/man1/*.1 "$PREFIX/share/man/man1/"
cp "$work/$name/completions/verbatim.bash" "$PREFIX/share/bash-completion/completions/verbatim"
cp "$work/$name/completions/verbatim.fish" "$PREFIX/share/fish/vendor_completions.d/"
cp "$work/$name/completions/_verbatim" "$PREFIX/share/zsh/site-functions/"
# In one step: whoever runs the old one goes on with it.
cp "$work/$name/verbatim" "$PREFIX/bin/.verbatim.$$"
chmod 755 "$PREFIX/bin/.verbatim.$$"
mv -f "$PREFIX/bin/.verbatim.$$" "$PREFIX/bin/verbatim"

printf 'installed %s\n' "$PREFIX/bin/verbatim"
"$PREFIX/bin/verbatim" --version
case :${PATH:-}: in
*:"$PREFIX/bin":*) ;;
*) printf 'add %s to PATH\n' "$PREFIX/bin" ;;
esac
