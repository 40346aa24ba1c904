package host

// Version is the version of this release. The suffix ~dev marks a version that is not released yet.
const Version = "0.1.0~dev"
