//! Programs of the operating system, and the Debian packages that have them.

/// A program that a test or a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// A shell and its programs in one.
    Busybox,
    /// Links Rust, and compiles the C in ring and in Dex.
    Cc,
    /// Finds misspelt words.
    Codespell,
    /// Runs the containers of a private engine.
    Containerd,
    /// Compiles libFuzzer.
    Cxx,
    /// Downloads.
    Curl,
    /// Makes a root of Debian.
    Debootstrap,
    /// Docker's own client.
    Docker,
    /// The Docker Engine.
    Dockerd,
    /// The store of a Kubernetes API server.
    Etcd,
    /// Keeps every repository that a test makes; the product runs it, too.
    Git,
    /// Says who runs a test.
    Id,
    /// Sends signals.
    Kill,
    /// Verifies signatures.
    Openssl,
    /// Has pip, which has zig.
    Python3,
    /// Runs programs for other processors.
    QemuAarch64,
    /// The same.
    QemuX86,
    /// Argo CD's cache.
    RedisServer,
    /// Starts the containers of a private engine.
    Runc,
    /// Adds targets to the Rust toolchain; most have it from elsewhere.
    Rustup,
    /// Runs scripts; the product runs it, too.
    Sh,
    /// git runs it for repositories over ssh.
    Ssh,
    /// An SSH server on a port of its own.
    Sshd,
    /// Makes keys for it.
    SshKeygen,
    /// The product runs it to hide a password that is typed.
    Stty,
    /// Packs layers.
    Tar,
    /// Gives a command namespaces of its own.
    Unshare,
}

impl Program {
    /// Every program.
    pub const ALL: [Self; 27] = [
        Self::Busybox,
        Self::Cc,
        Self::Codespell,
        Self::Containerd,
        Self::Curl,
        Self::Cxx,
        Self::Debootstrap,
        Self::Docker,
        Self::Dockerd,
        Self::Etcd,
        Self::Git,
        Self::Id,
        Self::Kill,
        Self::Openssl,
        Self::Python3,
        Self::QemuAarch64,
        Self::QemuX86,
        Self::RedisServer,
        Self::Runc,
        Self::Rustup,
        Self::Sh,
        Self::Ssh,
        Self::Sshd,
        Self::SshKeygen,
        Self::Stty,
        Self::Tar,
        Self::Unshare,
    ];

    /// The name of its file.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The packages that have it, and what it cannot do without. Debian 12 and 13.
    pub fn packages(self) -> &'static [&'static str] {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Busybox => ("busybox", &["busybox"]),
            Self::Cc => ("cc", &["gcc", "libc6-dev"]),
            Self::Codespell => ("codespell", &["codespell"]),
            Self::Containerd => ("containerd", &["containerd"]),
            Self::Curl => ("curl", &["curl"]),
            Self::Cxx => ("c++", &["g++"]),
            Self::Debootstrap => ("debootstrap", &["debootstrap"]),
            // In Debian 13 a package of its own; before, part of `docker.io`: see [`Self::package_before`].
            Self::Docker => ("docker", &["docker-cli"]),
            Self::Dockerd => ("dockerd", &["docker.io"]),
            Self::Etcd => ("etcd", &["etcd-server"]),
            Self::Git => ("git", &["git"]),
            Self::Id => ("id", &["coreutils"]),
            Self::Kill => ("kill", &["procps"]),
            Self::Openssl => ("openssl", &["openssl"]),
            Self::Python3 => ("python3", &["python3", "python3-venv"]),
            Self::QemuAarch64 => ("qemu-aarch64-static", &["qemu-user-static"]),
            Self::QemuX86 => ("qemu-x86_64-static", &["qemu-user-static"]),
            Self::RedisServer => ("redis-server", &["redis-server"]),
            Self::Runc => ("runc", &["runc"]),
            Self::Rustup => ("rustup", &["rustup"]),
            Self::Sh => ("sh", &["dash"]),
            Self::Ssh => ("ssh", &["openssh-client"]),
            Self::Sshd => ("sshd", &["openssh-server"]),
            Self::SshKeygen => ("ssh-keygen", &["openssh-client"]),
            Self::Stty => ("stty", &["coreutils"]),
            Self::Tar => ("tar", &["tar"]),
            Self::Unshare => ("unshare", &["util-linux", "mount"]),
        }
    }

    /// The package of Debian 12 where it is another one.
    pub(crate) fn package_before(self) -> Option<&'static str> {
        (self == Self::Docker).then_some("docker.io")
    }

    /// What to tell where it is missing.
    pub fn lacking(self) -> String {
        format!("this machine lacks {} (Debian: {})", self.name(), self.packages().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_program_has_a_name_and_a_package() {
        let names: BTreeSet<&str> = Program::ALL.into_iter().map(Program::name).collect();
        assert_eq!(names.len(), Program::ALL.len());
        assert!(Program::ALL.into_iter().all(|program| !program.packages().is_empty()));
    }
}
