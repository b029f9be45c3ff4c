// Package azureexport reads what people take out of an Azure IoT hub and of a provisioning service: the devices.txt of an export job, what
// the commands of az iot print as JSON, the file of az iot hub state export, and ARM templates. Files are recognised by what they hold,
// not by their names, in UTF-8 or UTF-16 (as PowerShell writes them), and may be of any size: at most [MaxThing] bytes are held at a time.
//
// [Read] gives one thing after the other: a pointer to one of [Identity], [Configuration], [Enrollment], [Hub], [Service], [Authority],
// [ConsumerGroup], [Other] or [Wrong]. What one file says of a device and another of its twin is not put together here.
//
// The package starts nothing, asks nobody, and keeps nothing. Things hold keys: they belong into no log and no error.
package azureexport
