// Package request reads HTTP requests as calls: cPanel's paths, the names of parameters and their old
// aliases, forms, multipart and JSON bodies. It decides nothing about permissions and runs nothing.
// docs/https.md lists the forms that real clients send, and the forms that are rejected.
package request
