package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // working hours name time zones, which small machines may not have
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, systemWorld(), os.Args[1:])
	stop()
	os.Exit(code)
}
