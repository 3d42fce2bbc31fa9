//! What there is to read.

/// A piece of news. Its texts are HTML.
pub(super) struct Article {
    pub(super) slug: &'static str,
    pub(super) title: &'static str,
    pub(super) lede: &'static str,
    pub(super) text: [&'static str; 2],
}

pub(super) const ARTICLES: [Article; 6] = [
    Article {
        slug: "harbour",
        title: "Harbour ferry runs again after eleven weeks",
        lede: "The first boat of the morning left with four passengers, two bicycles and a dog.",
        text: [
            "The ferry had waited since summer for a part of its gearbox. It came by post, in a box with the wrong label, and lay \
             in the harbour master’s office for a fortnight before anybody opened it.",
            "The crossing takes nine minutes, as it always did. Tickets are the same price, and the bell has been polished.",
        ],
    },
    Article {
        slug: "library",
        title: "Library lends out its ten thousandth umbrella",
        lede: "What began as a joke on a rainy afternoon is now the most popular shelf in the house.",
        text: [
            "Nobody needs a card: an umbrella is taken and, most of the time, brought back. Of those lent out this year nine in \
             ten have returned, some of them in better condition.",
            "The library does not write down who borrows one. It counts the umbrellas.",
        ],
    },
    Article {
        slug: "market",
        title: "A market stall that sells nothing but maps",
        lede: "Maps of places that have changed their names, their rivers or their minds.",
        text: [
            "The oldest shows the town with one street. The newest was printed in spring and is already wrong, since the bridge \
             was moved.",
            "The owner knows most of her customers by what they looked at last, and asks for nothing else.",
        ],
    },
    Article {
        slug: "bakery",
        title: "Bakers argue about the right time for bread",
        lede: "Four in the morning, says one. Four in the afternoon, says the other, and has a queue.",
        text: [
            "Both use the same flour and the same oven, which they have shared for twenty years, one by night and one by day.",
            "A vote among the customers ended in a draw. They had all voted twice.",
        ],
    },
    Article {
        slug: "clock",
        title: "Town clock is right for the first time since 1987",
        lede: "It had been six minutes slow for so long that the buses kept to it.",
        text: [
            "The clockmaker who mended it had come to see the view from the tower. It took her an afternoon and a hairpin.",
            "The bus company has asked for some notice the next time.",
        ],
    },
    Article {
        slug: "orchard",
        title: "The orchard that everybody forgot belongs to everybody",
        lede: "An old deed gives its apples to whoever passes by.",
        text: [
            "It was found between the pages of a cookery book. The trees have been looked after all the time, by neighbours who \
             each thought that they were the only ones.",
            "The first harvest that anybody knew was everybody’s came to two tonnes.",
        ],
    },
];
