"""Where prices come from: each a `meter.price.Source`.

    file        a price file, which the user writes: YAML
    tree        its text, with the lines of all that stands in it
    format      what may stand in it
    hours       hours of the day at which a price holds
    catalogue   the list that Meter brings along, genai-prices
    litellm     lists that others publish
    models_dev
    table       what these two become
    places      the names that one provider has in all of them
    same        kinds of tokens that makers charge alike

    files       any of these, by what stands in the file
    refresh     a newer catalogue in the place of the bundled one
    audit       what is suspicious in a price file

The book asks those that the settings name, in their order; `meter.pricing` makes it.
"""
