"""Results to an MQTT broker: `penance-mqtt`. Needs the extra `mqtt`."""
