// Package request parses HTTP requests into calls. It handles cPanel's paths, the names of parameters and
// their old aliases, and forms, multipart and JSON bodies. It does not check permissions and does not run
// calls. docs/https.md lists the forms of requests that real clients send, and the forms that are rejected.
package request
