// Package web contains the tests of the HTTPS API with real clients: curl, the password plugin of Roundcube,
// a client from npm, and Chromium for the pages.
package web
