// Package testworld is a whole deployment in one process: a control plane, a relay, agents and hubs that speak to each other over
// loopback exactly as separate machines would, with real sockets, real TLS and real files. Our tests use it, `isthmus demo` shows it,
// and users may run it in their own CI to test firmware against a hub without any cloud.
//
//	w, err := testworld.Start(ctx, testworld.Config{})
//	defer w.Close()
//	s, err := w.Standard(ctx)          // tenants ot and it, a plant, a hub, endpoints
//	text, err := s.Device(ctx, "press-1") // a connection string for an SDK
//
// Start returns once the world answers; [World.Close] returns once everything it started has ended and its files are gone. Each
// world has a block of 127.0.0.0/8 of its own, so several may live side by side, without root. On systems where only 127.0.0.1
// exists, addresses of private endpoints must be added by hand first.
//
// Processes can be stopped and started again one by one ([World.StopServer], [Process.Stop]) to see what their absence does.
package testworld
