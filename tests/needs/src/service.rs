//! Services and built programs that a caller starts or builds, and names in a variable.

/// A service that tests use where a variable names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A Docker Engine.
    Engine,
    /// A real Argo CD, see docs/rig.md.
    Rig,
    /// cosign, built from source.
    Cosign,
    /// The reference registry, built from source.
    Registry,
    /// Test data of other implementations, and a program that tells their verdicts.
    Vectors,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 5] =
        [Self::Engine, Self::Rig, Self::Cosign, Self::Registry, Self::Vectors];

    /// The word by which a step declares it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Rig => "rig",
            Self::Cosign => "cosign",
            Self::Registry => "registry",
            Self::Vectors => "vectors",
        }
    }

    /// The variable that names it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Engine => "VERBATIM_TEST_DOCKER_HOST",
            Self::Rig => "VERBATIM_RIG",
            Self::Cosign => "VERBATIM_TEST_COSIGN",
            Self::Registry => "VERBATIM_TEST_REGISTRY",
            Self::Vectors => "VERBATIM_TEST_VECTORS",
        }
    }

    /// What the variable has to name.
    pub fn what(self) -> &'static str {
        match self {
            Self::Engine => "the address of a Docker Engine that tests may fill",
            Self::Rig => "the description of a running rig (cargo xtask rig up)",
            Self::Cosign => "a cosign binary",
            Self::Registry => "the program `registry` of distribution",
            Self::Vectors => "the folder that `cargo xtask rig vectors` prints",
        }
    }
}
