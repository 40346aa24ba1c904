package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/protocol"
)

// Change the password of a mailbox through the running host.
func ExampleDial() {
	ctx := context.Background()
	c, err := client.Dial(ctx, "/run/liveapid/liveapi.sock")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	answer, err := c.Call(ctx, protocol.Call{
		API: protocol.UAPI, Module: "Email", Func: "passwd_pop",
		Args: protocol.Args{Named: map[string]any{
			"email":    "user@example.com",
			"password": protocol.NewSecret(os.Getenv("NEW_PASSWORD")),
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	var envelope struct {
		Result struct {
			Status int      `json:"status"`
			Errors []string `json:"errors"`
		} `json:"result"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil {
		log.Fatal(err)
	}
	if envelope.Result.Status != 1 {
		log.Fatal(envelope.Result.Errors)
	}
}

// Run calls concurrently in a session in MessagePack.
func ExampleClient_Packed() {
	ctx := context.Background()
	c, err := client.Spawn(ctx, "/usr/sbin/liveapid", "", os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	session, err := c.Packed(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	envelope, err := session.Call(ctx, protocol.Call{API: protocol.API2, Module: "Email", Func: "listpops"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(envelope["cpanelresult"])
}
