// One member of a hashicorp/memberlist cluster with its LAN defaults. Prints a JSON object per line: what it listens at, then who comes and
// goes, with the time. Ends when its standard input does.
//
//	memberlist-peer NAME [SEED]
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/memberlist"
)

type line struct {
	Time   float64 `json:"time"`
	Kind   string  `json:"kind"`
	Peer   string  `json:"peer"`
	Detail string  `json:"detail"`
}

func say(kind, peer, detail string) {
	text, _ := json.Marshal(line{float64(time.Now().UnixNano()) / 1e9, kind, peer, detail})
	fmt.Println(string(text))
}

type events struct{}

func (events) NotifyJoin(node *memberlist.Node)   { say("joined", node.Name, node.Address()) }
func (events) NotifyLeave(node *memberlist.Node)  { say("dead", node.Name, "") }
func (events) NotifyUpdate(node *memberlist.Node) {}

func main() {
	configuration := memberlist.DefaultLANConfig()
	configuration.Name = os.Args[1]
	configuration.BindAddr = "127.0.0.1"
	configuration.BindPort = 0
	configuration.Events = events{}
	configuration.LogOutput = io.Discard
	list, err := memberlist.Create(configuration)
	if err != nil {
		panic(err)
	}
	say("listens", configuration.Name, list.LocalNode().Address())
	if len(os.Args) > 2 {
		if _, err := list.Join(os.Args[2:]); err != nil {
			panic(err)
		}
	}
	io.Copy(io.Discard, os.Stdin)
}
