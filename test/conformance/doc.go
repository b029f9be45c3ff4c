// Package conformance runs the unmodified Azure IoT SDKs for Node.js against a hub. Its tests need node and the packages in
// package-lock.json, which make deps installs.
package conformance
