// Package upstream makes calls on the HTTPS API of another server, such as a cPanel server, and forwards requests to it,
// for programs that record calls. It keeps no calls itself.
package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// maxAnswer is the maximum size of an answer in bytes that is read.
const maxAnswer = 64 << 20

// Server is the HTTPS API of a server. It is safe for concurrent use.
type Server struct {
	Base   *url.URL // Such as https://cpanel.example.com:2083.
	User   string
	Token  protocol.Secret // An API token of the user.
	Client *http.Client
}

// Do makes a call on the server. The Caller is ignored: the token decides. Do implements session.Doer.
func (s *Server) Do(ctx context.Context, _ protocol.Caller, call protocol.Call) *protocol.Result {
	body, err := s.ask(ctx, call)
	if err != nil {
		return failed(err)
	}
	result, err := parse(call, body)
	if err != nil {
		return failed(fmt.Errorf("the answer can't be read: %w", err))
	}
	return result
}

// parse reads an answer. At /execute, an answer of UAPI is the result alone, without the envelope of other ways in.
func parse(call protocol.Call, body []byte) (*protocol.Result, error) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(body, &parts); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	switch {
	case parts["result"] != nil, parts["cpanelresult"] != nil, call.API == protocol.API1 && parts["data"] != nil && parts["event"] != nil:
	case call.API == protocol.UAPI && parts["status"] != nil:
		body = slices.Concat([]byte(`{"result":`), body, []byte("}"))
	default:
		return nil, errors.New("it is not the answer of a function")
	}
	return envelope.Parse(call, body)
}

func failed(err error) *protocol.Result {
	return protocol.Failed(&protocol.Error{Kind: protocol.KindUnavailable, Message: "The server could not be asked: " + err.Error() + ".", Err: err})
}

func (s *Server) ask(ctx context.Context, call protocol.Call) ([]byte, error) {
	form := url.Values{}
	path := "/execute/" + call.Module + "/" + call.Func
	if call.API != protocol.UAPI {
		path = "/json-api/cpanel"
		form.Set("cpanel_jsonapi_apiversion", strconv.Itoa(int(call.API)))
		form.Set("cpanel_jsonapi_module", call.Module)
		form.Set("cpanel_jsonapi_func", call.Func)
	}
	for i, value := range call.Args.Positional {
		form.Set("arg-"+strconv.Itoa(i), textOf(value))
	}
	for name, value := range call.Args.Named {
		if value != nil {
			form.Set(name, textOf(value))
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Base.JoinPath(path).String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "cpanel "+s.User+":"+s.Token.Reveal())
	answer, err := s.Client.Do(req)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err // The address is in the message of url.Error; it tells nothing new.
		}
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers with status %d", answer.StatusCode)
	}
	return io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
}

// textOf returns an argument as text. Lists and objects are sent as JSON.
func textOf(value any) string {
	if secret, ok := value.(protocol.Secret); ok {
		return secret.Reveal()
	}
	if text, ok := protocol.ScalarText(value); ok {
		return text
	}
	text, _ := json.Marshal(value)
	return string(text)
}

// Proxy returns a handler that forwards all requests to the server at base, with the clients' own credentials, and passes
// each call and its result to record. Requests that are not calls of UAPI or API 2 with JSON answers are only forwarded.
func Proxy(base *url.URL, client *http.Client, record func(protocol.Call, *protocol.Result)) http.Handler {
	type key struct{}
	proxy := &httputil.ReverseProxy{
		Transport: client.Transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "The server could not be asked: "+err.Error()+".", http.StatusBadGateway)
		},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(base)
			r.Out.Host = base.Host
			r.Out.Header.Del("Accept-Encoding") // The answer must be readable.
		},
		ModifyResponse: func(answer *http.Response) error {
			call, ok := answer.Request.Context().Value(key{}).(protocol.Call)
			if !ok || answer.StatusCode != http.StatusOK {
				return nil
			}
			body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
			if err != nil {
				return err
			}
			answer.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), answer.Body))
			if result, err := parse(call, body); err == nil {
				record(call, result)
			}
			return nil
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := request.ParsePath(r.URL.EscapedPath()); (path.Kind == request.Execute || path.Kind == request.CPanel) && !path.XML {
			body, err := io.ReadAll(io.LimitReader(r.Body, request.MaxBody+1))
			if err != nil {
				http.Error(w, "The request could not be read.", http.StatusBadRequest)
				return
			}
			if len(body) > request.MaxBody { // Such as a file: it is forwarded, and not recorded.
				r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
				proxy.ServeHTTP(w, r)
				return
			}
			copied := r.Clone(r.Context())
			copied.Body = io.NopCloser(bytes.NewReader(body))
			r.Body = io.NopCloser(bytes.NewReader(body))
			if values, problem := request.Read(copied); problem == nil {
				if call, problem := request.Of(path, values, false); problem == nil {
					r = r.WithContext(context.WithValue(r.Context(), key{}, call.Call))
				}
			}
		}
		proxy.ServeHTTP(w, r)
	})
}
