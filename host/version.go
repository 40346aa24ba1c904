package host

// Version is the version of this release. A suffix ~dev marks a version that was not released.
const Version = "0.1.0~dev"
