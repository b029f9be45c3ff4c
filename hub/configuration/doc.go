// Package configuration keeps the desired properties of many identities as one document says: automatic configurations of devices and
// modules, and deployments of edge devices (IoT Hub: automatic device management; IoT Edge: automatic deployments).
//
// A configuration has a content, a target condition and a priority. Whoever meets the condition gets the content written into the desired
// properties of its twin; of several configurations the one of the higher priority is written last and so wins where they disagree, and
// of two of the same priority the younger one. Of the base deployments of an edge device only the winner counts, and layered ones of a
// higher priority come on top. A configuration that is taken away, or whose condition is not met any more, leaves what it wrote.
//
// Invariants:
//   - a content is written once for each identity and each change of what is for it: what others write into the twin later stays;
//   - a content never changes; another one is another configuration;
//   - who is targeted and who has it applied is written down, and counted in the system metrics.
//
// [Engine.Run] owns one goroutine, which compares conditions and identities from time to time and when a configuration changes.
package configuration
