// Package registryfile reads and writes the identities of a hub as lines of JSON: the format of IoT Hub's export and import jobs
// (devices.txt; IoT Hub: bulk import and export of identities), which its bulk requests share.
//
// A line is one device or one module with its keys, its twin when there is one, and an import mode. Reading gives the change that a line
// asks for; what a line holds and this hub does not know is dropped, and what it holds wrongly is refused with words that name the line.
//
// The package holds no state and starts nothing. Lines hold keys: they belong into no log and no error.
package registryfile
