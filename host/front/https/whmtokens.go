package https

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/liveapid/liveapid/host/identity/token"
	"github.com/liveapid/liveapid/protocol"
)

// The functions for tokens change the caller's own tokens for WHM's port. Tokens of this server have no list
// of privileges: they may do what their owner may do.

// tokenHolder returns the user and the uid to which the caller's tokens belong.
func (c *whmCall) tokenHolder() (user string, uid int) {
	if c.q.who.user == root {
		return root, 0
	}
	return c.q.who.user, c.q.who.account.UID
}

func (c *whmCall) tokenRecord(t token.Token) map[string]any {
	record := map[string]any{"name": t.Name, "create_time": t.Created, "expires_at": nil, "acls": map[string]any{"all": 1}, "last_used": nil, "whitelist_ips": nil}
	if t.Expires != 0 {
		record["expires_at"] = t.Expires
	}
	return record
}

func (c *whmCall) listTokens() {
	if !c.keepsTokens() {
		return
	}
	user, uid := c.tokenHolder()
	all, err := c.q.front.o.Tokens.List(user)
	if err != nil {
		c.failTokens("", err)
		return
	}
	records := map[string]any{}
	for _, t := range all {
		if t.UID == uid && t.Service == token.WHM {
			records[t.Name] = c.tokenRecord(t)
		}
	}
	data := map[string]any{"tokens": records}
	c.reply(data, data)
}

func (c *whmCall) createToken() {
	user, uid := c.tokenHolder()
	g := token.Grant{User: user, UID: uid, Service: token.WHM, Name: c.text("token_name")}
	if text := c.text("expires_at"); text != "" && text != "0" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds <= time.Now().Unix() {
			c.fail(http.StatusOK, "The ‘expires_at’ argument must be a time in the future, in seconds since the start of 1970 (Unix time).")
			return
		}
		g.Expires = time.Unix(seconds, 0)
	}
	var text string
	var t token.Token
	c.tokens(g.Name, func() (err error) { text, t, err = c.q.front.o.Tokens.Create(g); return err }, func() {
		record := c.tokenRecord(t)
		record["token"] = text
		c.reply(record, record)
	})
}

func (c *whmCall) updateToken() {
	user, uid := c.tokenHolder()
	from, to := c.text("token_name"), c.text("new_name")
	c.tokens(from, func() error { return c.q.front.o.Tokens.Rename(user, uid, token.WHM, from, to) }, func() {
		c.reply(map[string]any{"name": to}, map[string]any{"name": to, "status": 1, "statusmsg": "OK"})
	})
}

func (c *whmCall) revokeToken() {
	user, uid := c.tokenHolder()
	names, _ := c.args["token_name"].([]any)
	for _, item := range names {
		name, _ := item.(string)
		failed := true
		c.tokens(name, func() error { return c.q.front.o.Tokens.Revoke(user, uid, token.WHM, name) }, func() { failed = false })
		if failed {
			return
		}
	}
	c.reply(map[string]any{}, map[string]any{"status": 1, "statusmsg": "OK"})
}

// tokens makes a change of the caller's tokens, records it, and calls done, or answers with the error.
func (c *whmCall) tokens(name string, change func() error, done func()) {
	if !c.keepsTokens() {
		return
	}
	var failure error
	shown := map[string]string{"token_name": protocol.Clip(name, maxLogged)}
	if to := c.text("new_name"); to != "" {
		shown["new_name"] = protocol.Clip(to, maxLogged)
	}
	err := c.q.front.o.Admin.Record(c.as(c.q.who.account), c.name, shown, func() *protocol.Error {
		if failure = change(); failure != nil {
			return protocol.NewError(protocol.KindFailed, "The tokens were not changed.")
		}
		return nil
	})
	switch {
	case failure != nil:
		c.failTokens(name, failure)
	case err != nil:
		c.fail(http.StatusOK, err.Message)
	default:
		done()
	}
}

// keepsTokens reports whether this server has tokens. If not, it answers the request.
func (c *whmCall) keepsTokens() bool {
	if c.q.front.o.Tokens == nil {
		c.fail(http.StatusOK, "This server has no tokens, because its HTTPS API is off (web.state).")
		return false
	}
	return true
}

func (c *whmCall) failTokens(name string, err error) {
	message := "The tokens can't be read or written at the moment. Nothing was changed."
	switch {
	case errors.Is(err, token.ErrNone):
		message = "You have no API token named “" + protocol.Clip(name, maxLogged) + "”."
	case errors.Is(err, token.ErrExists):
		message = "You have an API token named “" + protocol.Clip(cmp.Or(c.text("new_name"), name), maxLogged) + "” already."
	case errors.Is(err, token.ErrFull):
		message = "You have " + strconv.Itoa(token.MaxEach) + " API tokens, which is the limit. Revoke some."
	case errors.Is(err, token.ErrInvalid):
		message = "The token's name may have only letters, digits, - and _, at most " + strconv.Itoa(token.MaxName) + "."
	default:
		c.q.front.o.Log.Error("can't read or write the tokens", "error", err.Error())
	}
	c.fail(http.StatusOK, message)
}
