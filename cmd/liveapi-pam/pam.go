package main

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Constants and structures of PAM, from pam(3) and pam_conv(3) of Linux-PAM.
const (
	pamSuccess    = 0
	pamPromptOff  = 1 // A question with a hidden answer.
	pamErrorMsg   = 3
	pamTextInfo   = 4
	pamBufErr     = 5
	pamPermDenied = 6
	pamAuthErr    = 7
	pamUserUnkn   = 10
	pamMaxTries   = 11
	pamTokenOld   = 12 // The password expired; nobody can enter a new one.
	pamExpired    = 13
	pamConvErr    = 19
	pamSilent     = 0x8000
	pamDisallow   = 0x1 // PAM rejects empty passwords.
)

type message struct {
	style int32
	_     int32
	_     *byte // The text of the prompt, not used.
}

type response struct {
	text *byte
	code int32
	_    int32
}

type conversation struct {
	conv uintptr
	_    unsafe.Pointer
}

// library contains the functions of libpam and libc that this program calls, loaded without cgo.
type library struct {
	start   func(service, user string, conv *conversation, handle *unsafe.Pointer) int32
	auth    func(handle unsafe.Pointer, flags int32) int32
	account func(handle unsafe.Pointer, flags int32) int32
	end     func(handle unsafe.Pointer, status int32) int32
	calloc  func(n, size uintptr) unsafe.Pointer
}

func load() (library, error) {
	var l library
	for name, functions := range map[string]map[string]any{
		"libpam.so.0": {"pam_start": &l.start, "pam_authenticate": &l.auth, "pam_acct_mgmt": &l.account, "pam_end": &l.end},
		"libc.so.6":   {"calloc": &l.calloc},
	} {
		handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err != nil {
			return l, fmt.Errorf("PAM is not installed: %w", err)
		}
		for symbol, function := range functions {
			if _, err := purego.Dlsym(handle, symbol); err != nil {
				return l, fmt.Errorf("%s: %w", name, err)
			}
			purego.RegisterLibFunc(function, handle, symbol)
		}
	}
	return l, nil
}

// answer returns PAM's conversation function, through which PAM asks for the password. The function answers
// each hidden prompt with the password, ignores texts and error messages, and reports an error for any other
// prompt. The answers are allocated with calloc, because PAM frees them.
func (l library) answer(password []byte) uintptr {
	return purego.NewCallback(func(count int32, messages **message, out **response, _ unsafe.Pointer) uintptr {
		if count <= 0 || count > 32 {
			return pamConvErr
		}
		size := unsafe.Sizeof(response{})
		made := l.calloc(uintptr(count), size)
		if made == nil {
			return pamBufErr
		}
		questions := unsafe.Slice(messages, count)
		answers := unsafe.Slice((*response)(made), count)
		for i, q := range questions {
			switch q.style {
			case pamPromptOff:
				text := l.calloc(uintptr(len(password)+1), 1)
				if text == nil {
					return pamBufErr
				}
				copy(unsafe.Slice((*byte)(text), len(password)), password)
				answers[i].text = (*byte)(text)
			case pamErrorMsg, pamTextInfo:
			default:
				return pamConvErr
			}
		}
		*out = (*response)(made)
		return pamSuccess
	})
}

// authenticate asks PAM to verify the password and then the state of the account. An expired account and an
// expired password are rejected, which returns false without an error. An error means that PAM could not
// decide.
func authenticate(service, user string, password []byte) (bool, error) {
	l, err := load()
	if err != nil {
		return false, err
	}
	conv := &conversation{conv: l.answer(password)}
	var handle unsafe.Pointer
	if status := l.start(service, user, conv, &handle); status != pamSuccess {
		return false, fmt.Errorf("pam_start: error %d", status)
	}
	status := l.auth(handle, pamSilent|pamDisallow)
	what := "pam_authenticate"
	if status == pamSuccess {
		status, what = l.account(handle, pamSilent|pamDisallow), "pam_acct_mgmt"
	}
	l.end(handle, status)
	switch status {
	case pamSuccess:
		return true, nil
	case pamPermDenied, pamAuthErr, pamUserUnkn, pamMaxTries, pamTokenOld, pamExpired:
		return false, nil
	}
	return false, fmt.Errorf("%s: error %d", what, status)
}
