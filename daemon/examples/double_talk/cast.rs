//! Rooms and voices: one cast to choose thresholds by, another to report what the chosen ones are worth.

use clap::ValueEnum;

use crate::room::Room;

/// A voice of espeak-ng, and what it says.
#[derive(Debug)]
pub struct Voice {
    pub name: &'static str,
    pub texts: &'static [&'static str],
}

/// The rooms and the voices of a simulation.
#[derive(Debug)]
pub struct Cast {
    /// A bathroom, a living room, and an open kitchen.
    pub rooms: [Room; 3],
    pub assistants: [Voice; 4],
    pub people: [Voice; 5],
    /// Where the random numbers of its scenes begin.
    pub seed: u64,
}

/// Which cast. They share no room, voice, text or random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Set {
    /// For choosing thresholds.
    Choosing,
    /// For reporting.
    Reporting,
}

impl Set {
    pub fn cast(self) -> &'static Cast {
        match self {
            Self::Choosing => &CHOOSING,
            Self::Reporting => &REPORTING,
        }
    }
}

const CHOOSING: Cast = Cast {
    rooms: [
        room([2.9, 2.3, 2.4], 0.2),
        room([5.2, 4.1, 2.5], 0.4),
        room([7.6, 5.3, 2.8], 0.6),
    ],
    assistants: [
        voice(
            "en-gb",
            &[
                "I have found three recipes for you, and the first one is a soup of lentils and tomatoes.",
                "Tomorrow it will be sunny in the morning, with rain later in the afternoon.",
                "The kettle was switched on four minutes ago.",
            ],
        ),
        voice(
            "de+f2",
            &[
                "Der nächste Zug nach Hamburg fährt um sechzehn Uhr zwölf von Gleis sieben.",
                "Ich habe den Wecker auf halb sieben gestellt und das Licht im Flur ausgeschaltet.",
                "Im Kühlschrank fehlen Milch, Butter und zwei Zitronen.",
            ],
        ),
        voice(
            "es",
            &[
                "La temperatura del salón es de veintiún grados y la ventana sigue abierta.",
                "Mañana por la tarde tienes una cita con el dentista a las cinco y media.",
                "No encuentro ninguna canción con ese nombre.",
            ],
        ),
        voice(
            "en-us+f3",
            &[
                "Your next appointment is on Thursday at a quarter past nine, on the second floor.",
                "There are eleven messages, and two of them are marked as urgent.",
                "Shall I read the first one aloud?",
            ],
        ),
    ],
    people: [
        voice(
            "en-us",
            &[
                "turn on the kitchen light",
                "no not that one",
                "what time is it",
            ],
        ),
        voice(
            "en-gb-scotland+f4",
            &[
                "stop that please",
                "how far is it to the station",
                "call my sister",
            ],
        ),
        voice(
            "fr-fr+m3",
            &["attends un moment", "baisse le volume", "c'est assez merci"],
        ),
        voice(
            "pl+f1",
            &[
                "przestań na chwilę",
                "zgaś światło w kuchni",
                "jaka jest pogoda",
            ],
        ),
        voice(
            "en-029+m5",
            &["wait a moment", "volume down", "play something else"],
        ),
    ],
    seed: 1,
};

const REPORTING: Cast = Cast {
    rooms: [
        room([2.5, 2.1, 2.3], 0.2),
        room([4.6, 3.7, 2.6], 0.4),
        room([8.3, 4.9, 2.7], 0.6),
    ],
    assistants: [
        voice(
            "en-us+m2",
            &[
                "The washing machine has finished, and the dryer needs another twenty minutes.",
                "On Friday the library closes at six, but the swimming pool is open until nine.",
                "I could not reach the thermostat.",
            ],
        ),
        voice(
            "fr-fr+f4",
            &[
                "Le prochain bus passe dans huit minutes devant la mairie.",
                "J'ai ajouté du pain, des oeufs et du fromage à la liste des courses.",
                "Il reste quarante pour cent de batterie.",
            ],
        ),
        voice(
            "it",
            &[
                "La lavatrice finisce tra mezz'ora e il forno è ancora acceso.",
                "Domani mattina ci sono dodici gradi, con un po' di vento dal mare.",
                "Non ho capito la seconda domanda.",
            ],
        ),
        voice(
            "en-gb-x-rp+f1",
            &[
                "Chapter four begins with a long walk along the river, in the middle of winter.",
                "Nobody in the village had heard of the painter before that evening.",
                "It goes on for another nine pages.",
            ],
        ),
    ],
    people: [
        voice(
            "en-gb+m4",
            &[
                "be quiet now",
                "switch the heating off",
                "who wrote that book",
            ],
        ),
        voice(
            "de",
            &["halt bitte", "mach das Fenster zu", "wie spät ist es denn"],
        ),
        voice(
            "nl+f3",
            &["zet de radio uit", "nee dat bedoel ik niet", "genoeg zo"],
        ),
        voice(
            "en-us-nyc+f5",
            &[
                "hold on a second",
                "skip this one",
                "are there any messages",
            ],
        ),
        voice(
            "pt-br+m1",
            &[
                "para um pouquinho",
                "fecha a porta da frente",
                "que dia é hoje",
            ],
        ),
    ],
    seed: 2,
};

const fn room(size: [f32; 3], reverberation: f32) -> Room {
    Room {
        size,
        reverberation,
    }
}

const fn voice(name: &'static str, texts: &'static [&'static str]) -> Voice {
    Voice { name, texts }
}
