"""What other programs are to know of the instance, out of its settings: rules, routes, a scrape."""
