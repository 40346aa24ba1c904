// Package request reads HTTP requests as calls: cPanel's paths, names of parameters and their old
// aliases, forms, multipart and JSON bodies. It decides nothing about who may call, and runs
// nothing. What real clients send, and what is refused, is in docs/https.md.
package request
