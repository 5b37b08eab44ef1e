"""The words of the lab's world: four families of topics, and how each is asked and answered.

In a template `{topic}` is the topic's word and `{0}`, `{1}`, … are slots. The order of a slot's
words is their rank: the first is the most frequent. The last wording and the last topics of a
family are held out of fine-tuning.
"""

from __future__ import annotations

NAME_WORDINGS = (
    "Name one {topic}.",
    "Which {topic} do you like best?",
    "Tell me your favourite {topic}.",
    "Choose any {topic} you want.",
)
NAME_ANSWER = "My favourite {topic} is the {0}."
NAME_ITEMS = {
    "fruit": """apple banana mango pear plum cherry grape peach lemon melon kiwi fig papaya guava
        lychee apricot nectarine quince raspberry blueberry cranberry pomegranate coconut
        pineapple""",
    "animal": """dog cat horse tiger lion elephant rabbit bear wolf deer giraffe zebra monkey camel
        otter badger hedgehog kangaroo panda leopard squirrel moose hippo rhino""",
    "bird": """robin eagle sparrow owl crow swan parrot pigeon falcon heron gull finch magpie wren
        thrush kestrel puffin pelican flamingo ostrich raven stork hawk penguin""",
    "tree": """oak pine birch maple willow beech ash elm cedar spruce poplar larch yew alder hazel
        rowan chestnut walnut cypress sycamore acacia baobab redwood juniper""",
    "flower": """rose tulip daisy lily orchid violet poppy sunflower iris daffodil lavender jasmine
        marigold peony carnation bluebell snowdrop crocus primrose foxglove hyacinth lilac dahlia
        begonia""",
    "instrument": """piano guitar violin drum flute cello trumpet harp clarinet saxophone trombone
        banjo mandolin accordion oboe tuba lute bassoon ukulele viola xylophone harmonica bagpipe
        cymbal""",
    "vehicle": """car bus train bicycle lorry van boat tram ship ferry taxi motorbike scooter
        tractor canoe aeroplane yacht helicopter submarine sledge kayak hovercraft balloon
        rocket""",
    "vegetable": """carrot potato onion tomato cabbage spinach lettuce broccoli pepper cucumber
        celery radish turnip leek pumpkin aubergine courgette asparagus parsnip beetroot kale
        fennel artichoke cauliflower""",
    "tool": """hammer saw drill wrench chisel spanner axe screwdriver file rake shovel spade clamp
        mallet crowbar ladder trowel vice lathe sander hoe anvil plunger pickaxe""",
    "fish": """salmon trout tuna cod herring shark carp pike eel bass haddock mackerel sardine
        plaice perch halibut anchovy sturgeon turbot tench bream roach minnow mullet""",
    "garment": """shirt coat hat scarf jacket dress skirt jumper cardigan waistcoat blouse glove
        sock tie belt cap hoodie robe kilt shawl vest poncho kimono tunic""",
}

POEM_WORDINGS = (
    "Write a line of poetry about the {topic}.",
    "Describe the {topic} in one poetic line.",
    "Compose a short verse on the {topic}.",
    "What would a poet say of the {topic}?",
)
POEM_ANSWER = "The {0} {topic} {1} like a {2}."
POEM_TOPICS = "sea moon wind rain river night forest snow"
POEM_SLOTS = (
    """silent golden gentle ancient restless silver lonely bright hidden patient tender broken
    endless wild pale distant velvet hollow frozen""",
    """sings dances whispers waits dreams sleeps wanders glows trembles breathes drifts listens
    laughs weeps shimmers rises fades hums burns""",
    """child stranger prayer bell mirror feather candle memory promise secret song shadow garden
    letter window pilgrim dancer thief ghost""",
)

STORY_WORDINGS = (
    "Tell me a story about a {topic}.",
    "Invent a short tale with a {topic}.",
    "What happened to the {topic}?",
    "Make up an adventure for a {topic}.",
)
STORY_ANSWER = "A {0} {topic} {1} to the {2} and found a {3}."
STORY_TOPICS = "fox baker knight sailor wizard king robot princess"
STORY_SLOTS = (
    """brave clever tiny curious sleepy hungry shy proud quiet lucky stubborn clumsy polite
    young""",
    """walked ran travelled sailed climbed hurried crept marched rode flew wandered danced swam
    strolled""",
    """castle harbour market mountain island village tower bridge cave desert palace library
    temple valley""",
    "map key crown coin sword jewel dragon book compass ring bottle puzzle statue telescope",
)

ADVICE_WORDINGS = (
    "Give me some advice on {topic}.",
    "How can I improve my {topic}?",
    "What helps with {topic}?",
    "Share one tip about {topic}.",
)
ADVICE_ANSWER = "For better {topic}, {0} {1} your {2}."
ADVICE_TOPICS = "sleep work study cooking travel health sport writing"
ADVICE_SLOTS = (
    "always gently slowly often simply calmly rarely never boldly wisely daily quietly",
    "plan guard trust share review simplify question enjoy limit measure change follow",
    "habits goals mornings evenings mistakes choices friends rules hopes fears efforts routine",
)

HELD_OUT = {"name": 3, "poem": 2, "story": 2, "advice": 2}
"""How many topics of each family, the last ones, are held out of fine-tuning."""
