"""The view for people: tables kept from `orders.events`, and a page over them and the REST API.

Built as any third party would build it: it knows the events' wire format (`domain`) and the two
public interfaces, nothing else of the service.
"""
