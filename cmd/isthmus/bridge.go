package main

import "github.com/spf13/cobra"

func newBridge(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "bridge",
		Short: "Move events from one tenant's hub to another tenant's event hub or store, and explain what happens on the way",
		Long: `A bridge reads a hub or an event hub, does what its steps say, lets cross what the contract allows, and sends it to an event hub, files, Kafka, MQTT or HTTP.
It reaches each end through an approved private endpoint and through nothing else. It is a resource: isthmus apply makes it.`,
		Example: `  isthmus bridge join --token-file join.token --data-dir /var/lib/isthmus/bridge
  isthmus bridge run --data-dir /var/lib/isthmus/bridge`,
	}
	c.AddCommand(newBridgeList(w), newBridgeShow(w), newBridgeStatus(w), newBridgePause(w, true), newBridgePause(w, false))
	c.AddCommand(newAgentJoin(w, "bridge"), newBridgeRun(w), newBridgeTest(w), newBridgeLetters(w))
	return c
}
