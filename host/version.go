package host

// Version is this release's. A version with ~dev is of no release.
const Version = "0.1.0~dev"
