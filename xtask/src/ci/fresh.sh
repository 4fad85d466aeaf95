# Runs one step of ci in a layer over the fresh root. Runs in mount and process namespaces of its own.
folder=$1 step=$2
layer=$folder/layer root=$folder/layer/root
rm -rf "$layer"
mkdir -p "$layer/upper" "$layer/work" "$layer/tmp" "$root" "$folder/cache"
chmod 1777 "$layer/tmp"
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$folder/base,upperdir=$layer/upper,workdir=$layer/work" "$root"
give() { mkdir -p "$root$2" && mount --rbind "$1" "$root$2"; }
give /dev /dev
give /sys /sys
give "$layer/tmp" /tmp
give "$folder/src" /src
give "$folder/cache" /home/ci/.cache
cargo=${CARGO_HOME:-$HOME/.cargo} rustup=${RUSTUP_HOME:-$HOME/.rustup}
goroot=$(go env GOROOT) gopath=$(go env GOPATH)
mkdir -p "$gopath"
for toolchain in "$cargo" "$rustup" "$goroot" "$gopath"; do give "$toolchain" "$toolchain"; done
mount -t proc proc "$root/proc"
cp /etc/resolv.conf /etc/hosts "$root/etc/"
# The network's, with the certificates by which this machine trusts it.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/roots.pem"
exec chroot "$root" /usr/bin/env -i HOME=/home/ci LANG=C.UTF-8 CARGO_INCREMENTAL=0 SSL_CERT_FILE=/etc/roots.pem CARGO_HTTP_CAINFO=/etc/roots.pem CARGO_HOME="$cargo" RUSTUP_HOME="$rustup" \
    RUSTUP_TOOLCHAIN="${RUSTUP_TOOLCHAIN:-}" GOPATH="$gopath" \
    PATH="$goroot/bin:$cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    sh -c "cd /src && sh .ci/run --only $step"
