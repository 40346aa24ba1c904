// Package web tests the HTTPS API with real clients: curl, Roundcube's password plugin, a client from npm,
// and Chromium for the pages.
package web
