// Package provisioning is a device provisioning service without a wire: who is enrolled and how a device proves it, to which hub a
// device is assigned, and what becomes of it when it registers again. Doors (provisioning/httpdoor, provisioning/mqttdoor) translate
// protocols into calls of this package and hold no state of their own.
//
// One [Server] is one process and has any number of services. A [Service] is one of them, known to devices by its id scope. Enrollments
// are JSON documents as operators write them for Azure's service; they are kept as they are, and checked when they come in.
//
// Invariants:
//   - who has not proved that it is an enrolled device learns nothing, not even whether there is such an enrollment; every such refusal
//     says the same, and the true reason is for the log only;
//   - an individual enrollment goes before every group; the key of a group itself opens nothing;
//   - a registration is written down before it is answered; whoever asks again gets the same operation until it has ended, and an
//     operation that lost its process is taken up again by the next question about it;
//   - a device is made at its new hub before the old one is told to forget it; if that fails, its next registration tells it again;
//   - at most Config.Queue registrations wait and Config.Workers are worked on; beyond that devices are asked to come back;
//   - a webhook, or a hub elsewhere, that hangs holds up the devices which need it and no others;
//   - a webhook is called over TLS, without redirects, in bounded time and size, and never at a loopback or link-local address unless
//     Config.LoopbackWebhooks is set;
//   - keys and connection strings appear in no log, in no error, and in no enrollment that is read back; only
//     [Service.Mechanism] shows keys.
//
// Run owns the goroutines that work on registrations, and returns when they have ended. Everything else runs on callers' goroutines
// and is safe for concurrent use.
package provisioning
