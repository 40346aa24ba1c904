// Package web has the tests of the HTTPS API by what real clients do: curl, Roundcube's password
// plugin, a client from npm, and Chromium on the pages.
package web
